/** Opens a file in the user's browser. */
import { spawn } from 'node:child_process'

/** Resolves with whether a program accepted the file; false without a screen. */
export function openInBrowser(file: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env
  if (process.platform === 'linux' && !DISPLAY && !WAYLAND_DISPLAY) return Promise.resolve(false)
  const opener = process.platform === 'darwin' ? 'open' : 'xdg-open'
  return new Promise((resolve) => {
    const child = spawn(opener, [file], { detached: true, stdio: 'ignore' })
    child.once('error', () => resolve(false))
    child.once('spawn', () => {
      child.unref()
      resolve(true)
    })
  })
}
