/** The names of our tools, by which children are denied them. */
export const TOOL_NAMES = [
  'background_task',
  'background_output',
  'background_cancel',
  'list_background',
  'run_background',
  'check_background',
  'kill_background',
] as const
