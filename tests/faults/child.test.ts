import { playAll } from './play.ts'
import { GROUPS } from './rows.ts'

playAll(GROUPS['The child session'])
