/** Generates schema, table and declaration of the options from `src/config.ts`, for users and editors. */
import { format } from 'oxfmt'
import * as z from 'zod'
import { optionsSchema } from '../src/config.ts'
import { meanings } from '../src/parse-options.ts'

type JSONSchema = z.core.JSONSchema.BaseSchema

/** Returns the JSON Schema of the second element of the plugin's tuple in opencode.json, with descriptions. */
export function optionsJSONSchema(): JSONSchema {
  return { title: 'Options of opencode-background', ...schemaOf(optionsSchema) }
}

/** Resolves with the table of docs/options.md, formatted as the page. */
export async function optionsTable(): Promise<string> {
  const rows = rowsOf(schemaOf(optionsSchema))
  const table = ['| option | default | meaning |', '| --- | --- | --- |', ...rows].join('\n')
  return (await format('options.md', table)).code.trim()
}

/** Returns the declaration of the options as callers write them, with a comment for each. */
export function optionsDeclaration(): string {
  return `export interface OptionsInput ${interfaceOf(schemaOf(optionsSchema))}\n`
}

function interfaceOf({ properties = {} }: JSONSchema): string {
  const fields = Object.entries(properties).flatMap(([name, property]) => {
    if (typeof property !== 'object') return []
    const type = typeOf(property)
    // A group has no description.
    const { description } = property
    const comment =
      description === undefined ? [] : [`/** ${capitalised(description)}. Default: ${defaultOf(property)} */`]
    return [...comment, `readonly ${name}?: ${type} | undefined`]
  })
  return ['{', ...fields, '}'].join('\n')
}

function typeOf(schema: JSONSchema): string {
  if (schema.properties) return interfaceOf(schema)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (typeof schema.additionalProperties === 'object')
    return `{ readonly [name: string]: ${typeOf(schema.additionalProperties)} }`
  switch (schema.type) {
    case 'boolean':
    case 'string':
      return schema.type
    case 'integer':
    case 'number':
      return 'number'
    case 'array':
      return `readonly ${typeOf(schema.items as JSONSchema)}[]`
    default:
      throw new Error(`No declaration is known for ${JSON.stringify(schema)}.`)
  }
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function schemaOf(schema: z.core.$ZodType): JSONSchema {
  return z.toJSONSchema(schema, { io: 'input', metadata: meanings })
}

function rowsOf({ properties = {} }: JSONSchema, path: readonly string[] = []): string[] {
  return Object.entries(properties).flatMap(([name, property]) => {
    if (typeof property !== 'object') return []
    const here = [...path, name]
    // A record with free keys is one option.
    if (property.properties) return rowsOf(property, here)
    const row = `| \`${here.join('.')}\` | ${defaultOf(property)} | ${property.description ?? ''} |`
    const entries = property.additionalProperties
    return typeof entries === 'object' ? [row, ...rowsOf(entries, [...here, 'NAME'])] : [row]
  })
}

function defaultOf({ default: value }: JSONSchema): string {
  const text = JSON.stringify(value)
  return typeof value === 'number' || typeof value === 'boolean' ? text : `\`${text}\``
}
