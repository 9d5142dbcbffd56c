import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the firmware and the kernel say about how this machine was booted. */
export interface BootState {
  firmware: 'efi' | 'other';
  /** Absent where it cannot be told: not an EFI machine, or its variables cannot be seen. */
  secureBoot?: boolean;
  /** The keys of the firmware can be replaced by anyone. */
  setupMode?: boolean;
  /** What the kernel keeps root from doing: none, integrity or confidentiality. Absent where it has no such thing. */
  lockdown?: string;
}

/** EFI_GLOBAL_VARIABLE of the UEFI specification. */
const globalVariables = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
/** efivarfs puts the attributes of a variable, 32 bits, before its value. */
const attributeBytes = 4;

/** A variable of one byte; undefined when it cannot be read, or has another length. */
function variable(efi: string, name: string): number | undefined {
  try {
    const bytes = readFileSync(join(efi, 'efivars', `${name}-${globalVariables}`));
    return bytes.length === attributeBytes + 1 ? bytes[attributeBytes] : undefined;
  } catch {
    return undefined;
  }
}

function lockdownIn(sys: string): string | undefined {
  try {
    const text = readFileSync(join(sys, 'kernel/security/lockdown'), 'utf8');
    return /\[(\w+)\]/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

/** Reads how the machine was booted. `sys` is another place only in tests. */
export function readBootState(sys = '/sys'): BootState {
  const lockdown = lockdownIn(sys);
  const known = lockdown === undefined ? {} : { lockdown };
  const efi = join(sys, 'firmware/efi');
  if (!existsSync(efi)) return { firmware: 'other', ...known };
  const [secure, setup] = [variable(efi, 'SecureBoot'), variable(efi, 'SetupMode')];
  return {
    firmware: 'efi',
    ...(secure === undefined ? {} : { secureBoot: secure === 1 }),
    ...(setup === undefined ? {} : { setupMode: setup === 1 }),
    ...known,
  };
}
