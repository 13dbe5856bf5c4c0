import { playTogether } from './play.ts'
import { GROUPS } from './rows.ts'

playTogether(GROUPS['The process'])
