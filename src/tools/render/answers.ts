/**
 * The texts of all tools. A bundle of its own, which the first answer loads, because OpenCode reads the code of the plugin at
 * each start.
 */
export { appliedText } from '../../text/applied-text.ts'
export { cancelText } from './cancel-text.ts'
export { listText } from './list-text.ts'
export { startedCommandText, startedTaskText } from './started-text.ts'
export { storyText } from './story-text.ts'
export { taskText } from './task-text.ts'
