import { expect, test } from 'vitest'
import type { NewStep, Step } from '../../../src/task/step.ts'
import { phasesOf, timeIn } from '../../../src/session-timeline/phases.ts'

function at(time: number, step: NewStep): Step {
  return { ...step, at: time, times: 1 }
}

const asked = (time: number): Step =>
  at(time, { type: 'transition', event: 'permissionAsked', status: 'waiting' })
const replied = (time: number, status: 'running' | 'waiting' = 'running'): Step =>
  at(time, { type: 'transition', event: 'permissionReplied', status })
const retry = (time: number): Step => at(time, { type: 'retry', attempt: 1, message: 'overloaded' })
const tool = (time: number): Step => at(time, { type: 'tool', tool: 'read', state: 'running' })

test('a run that never got a slot was queued until its end', () => {
  expect(phasesOf({ from: 0, to: 50 }, [])).toEqual([{ type: 'queued', from: 0, to: 50 }])
})

test('a permission request interrupts the work until its answer', () => {
  expect(phasesOf({ from: 0, startedAt: 10, to: 100 }, [asked(30), replied(60)])).toEqual([
    { type: 'queued', from: 0, to: 10 },
    { type: 'working', from: 10, to: 30 },
    { type: 'permission', from: 30, to: 60 },
    { type: 'working', from: 60, to: 100 },
  ])
})

test('the wait lasts until the last of two permission requests is answered', () => {
  const steps = [asked(30), asked(35), replied(40, 'waiting'), replied(60)]
  expect(timeIn(phasesOf({ from: 0, startedAt: 0, to: 100 }, steps), ['permission'])).toBe(30)
})

test('a provider is retried until the next sign of life', () => {
  const phases = phasesOf({ from: 0, startedAt: 0, to: 100 }, [retry(20), retry(40), tool(70)])
  expect(phases).toEqual([
    { type: 'working', from: 0, to: 20 },
    { type: 'retry', from: 20, to: 70 },
    { type: 'working', from: 70, to: 100 },
  ])
})

test('the steps of another run change nothing', () => {
  const phases = phasesOf({ from: 100, startedAt: 110, to: 200 }, [asked(30), replied(60), asked(250)])
  expect(phases).toEqual([
    { type: 'queued', from: 100, to: 110 },
    { type: 'working', from: 110, to: 200 },
  ])
})

test('an unfinished wait lasts until the end of the run', () => {
  expect(timeIn(phasesOf({ from: 0, startedAt: 0, to: 100 }, [asked(30)]), ['permission'])).toBe(70)
})
