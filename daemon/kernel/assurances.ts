import { existsSync, readFileSync } from 'node:fs';
import {
  type ProcessorProtection,
  protectionOf,
  readVulnerabilities,
} from './processor-protection.ts';

/** Hardware that can keep memory from the rest of a machine. */
export type Hardware = 'none' | 'sgx' | 'sev' | 'tdx' | 'trustzone';

/** What this machine says of the protection of its memory. */
export interface MemoryProtection {
  /** What there is; nothing of it is used for an enclave's files. */
  hardware: Hardware;
  /** Whether memory modules hold what a thief could read. */
  encryption: string;
  /** Where pages of programs go that do not fit. */
  swap: string;
  processor: ProcessorProtection;
  /** The text of kernel.yama.ptrace_scope; empty where the kernel has none. */
  ptraceScope: string;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The words of the first `flags` line of /proc/cpuinfo. */
function flagsOf(cpuinfo: string): ReadonlySet<string> {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '';
  return new Set(line.split(' '));
}

/** What the processor's own page tells. `devices` are names below /dev that exist. */
export function hardwareOf(cpuinfo: string, devices: ReadonlySet<string>): Hardware {
  const flags = flagsOf(cpuinfo);
  if (flags.has('tdx_guest') || devices.has('tdx_guest')) return 'tdx';
  if (devices.has('sev-guest') || devices.has('sev')) return 'sev';
  if (flags.has('sgx') && devices.has('sgx_enclave')) return 'sgx';
  if (devices.has('tee0')) return 'trustzone';
  return 'none';
}

/** Whether memory is encrypted, as far as this system can tell. */
export function memoryEncryptionOf(cpuinfo: string, devices: ReadonlySet<string>): string {
  const flags = flagsOf(cpuinfo);
  if (flags.has('tdx_guest') || devices.has('tdx_guest') || devices.has('sev-guest'))
    return 'encrypted by the processor against the host of this virtual machine';
  if (flags.has('sme') || flags.has('tme'))
    return 'the processor can encrypt it; whether the firmware has switched that on is not told';
  return 'not encrypted';
}

/** Where swapped pages go, from /proc/swaps. */
export function swapOf(swaps: string): string {
  const names = swaps
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s+/)[0] ?? '')
    .filter((name) => name !== '');
  if (names.length === 0) return 'none';
  return names.every((name) => name.startsWith('/dev/zram'))
    ? 'in memory (zram)'
    : `on ${names.join(', ')}: what programs hold in memory may be written there`;
}

/** Looks at this machine. */
export function memoryProtection(): MemoryProtection {
  const cpuinfo = textOf('/proc/cpuinfo');
  const names = ['tdx_guest', 'sev-guest', 'sev', 'sgx_enclave', 'tee0'];
  const devices = new Set(names.filter((name) => existsSync(`/dev/${name}`)));
  return {
    hardware: hardwareOf(cpuinfo, devices),
    encryption: memoryEncryptionOf(cpuinfo, devices),
    swap: swapOf(textOf('/proc/swaps')),
    processor: protectionOf(cpuinfo, readVulnerabilities()),
    ptraceScope: textOf('/proc/sys/kernel/yama/ptrace_scope'),
  };
}
