/**
 * Identifies the system that this process runs on. An unreadable value is '', so that the plugin always
 * loads. The host name is not used, because containers, DHCP and VPNs change it.
 */
import { readFileSync, readlinkSync, statfsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface System {
  /** The id of the installation; containers of one image share it. */
  readonly machine: string
  /** The id of the kernel's boot; containers of one machine share it. */
  readonly boot: string
  /** The pid namespace. */
  readonly namespace: string
}

/** `f_type` of statfs(2) for file systems that several machines can share. */
const SHARED_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0x6969, // NFS
  0xff53_4d42, // CIFS
  0xfe53_4d42, // SMB 2
  0x517b, // SMB
  0x0102_1997, // 9P
  0x6573_5546, // FUSE: sshfs and its like
  0x0bd0_0bd0, // Lustre
  0x00c3_6400, // Ceph
  0x5346_414f, // AFS
  0x4750_4653, // GPFS
])

export function thisSystem(): System {
  return {
    machine: firstText('/etc/machine-id', '/var/lib/dbus/machine-id'),
    boot: bootID(),
    namespace: orEmpty(() => readlinkSync('/proc/self/ns/pid')),
  }
}

export function bootID(): string {
  return firstText('/proc/sys/kernel/random/boot_id')
}

/** Whether only this machine writes the file system of OpenCode's data; false where that is unknown. */
export function isStateLocal(): boolean {
  const data = process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share')
  try {
    return !SHARED_FILE_SYSTEMS.has(statfsSync(join(data, 'opencode')).type >>> 0)
  } catch {
    return false
  }
}

function firstText(...paths: readonly string[]): string {
  for (const path of paths) {
    const text = orEmpty(() => readFileSync(path, 'utf8').trim())
    if (text !== '') return text
  }
  return ''
}

function orEmpty(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}
