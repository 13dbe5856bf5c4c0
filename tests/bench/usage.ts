/** Resource usage of a process, on Linux. */
import { readFileSync } from 'node:fs'

export interface ProcessUsage {
  /** In bytes. */
  readonly resident: number
  readonly peak: number
  /** In seconds since its start. */
  readonly cpu: number
}

/** Reads the resource usage of a process from /proc (proc(5)). Throws for one that has ended, also before it was reaped. */
export function usageOf(pid: number): ProcessUsage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kilobytes = (name: string): number => {
    const found = new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]
    if (found === undefined) throw new Error(`Process ${pid} has ended`)
    return Number(found)
  }
  // The 12th and 13th field after the name in brackets (which may contain anything), in 1/100 s.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return {
    resident: kilobytes('VmRSS') * 1024,
    peak: kilobytes('VmHWM') * 1024,
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
  }
}
