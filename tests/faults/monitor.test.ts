import { playAll } from './play.ts'
import { GROUPS } from './rows.ts'

playAll(GROUPS['A monitor'])
