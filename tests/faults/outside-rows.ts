/** Lists the faults that hit a manager in another process than OpenCode. The real OpenCode plays each row, over a proxy. */
import type { OutsideScene } from './outside-scene.ts'
import type { Seen } from './scene.ts'

export interface OutsideRow {
  readonly fault: string
  readonly moment: string
  readonly play: (scene: OutsideScene) => Promise<unknown>
  readonly expected: Seen
}

const WOKEN = { told: 'completed', times: 1, how: 'woken', left: 'nothing' } as const
const CUT_OFF = { ...WOKEN, told: 'failed: OpenCode stopped before the task had ended' } as const
const REFUSED = { told: 'nothing', times: 0, how: '–', left: 'nothing' } as const

export const OUTSIDE_ROWS: readonly OutsideRow[] = [
  {
    fault: 'the event stream breaks for a moment',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.breakStream()
      scene.answer()
    },
    expected: WOKEN,
  },
  {
    fault: 'the connection is cut',
    moment: 'the child works, and ends meanwhile',
    async play(scene) {
      await scene.launch()
      scene.cut()
      scene.answer()
      await scene.parent.childrenAreIdle()
      scene.restore()
    },
    expected: WOKEN,
  },
  {
    fault: 'the connection is cut',
    moment: 'the notice is stored, and answered meanwhile',
    async play(scene) {
      await scene.launch()
      await scene.cutAtNotice()
      scene.restore()
    },
    expected: WOKEN,
  },
  {
    fault: 'the server is killed, and started again',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.stage.restart('SIGKILL')
      scene.restore()
    },
    expected: CUT_OFF,
  },
  {
    fault: 'the server is killed, and started again',
    moment: 'the child has finished, which is not known yet',
    async play(scene) {
      await scene.launch()
      scene.cut()
      scene.answer()
      await scene.parent.childrenAreIdle()
      await scene.stage.restart('SIGKILL')
      scene.restore()
    },
    expected: WOKEN,
  },
  {
    fault: 'the instance is disposed, as by a change of the configuration',
    moment: 'the child works',
    async play(scene) {
      await scene.launch()
      await scene.disposeInstance()
    },
    expected: CUT_OFF,
  },
  {
    fault: 'the server is away',
    moment: 'at the start',
    async play(scene) {
      await scene.startAway()
      await scene.launch()
      scene.answer()
    },
    expected: WOKEN,
  },
  {
    fault: 'the password is wrong',
    moment: 'at the start: the launch is refused',
    play: (scene) => scene.launchWithWrongPassword(),
    expected: REFUSED,
  },
  {
    fault: 'the process of the manager is killed, and started again',
    moment: 'the child works',
    async play(scene) {
      await scene.launchOutside()
      await scene.restartOutside()
      scene.answer()
    },
    expected: WOKEN,
  },
]
