import { playAll } from './play.ts'
import { GROUPS } from './rows.ts'

// A row measures the memory, which no collector bounds in a server that the tests start without one.
playAll(GROUPS['A monitor'], { BUN_JSC_useGC: '1' })
