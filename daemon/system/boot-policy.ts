import type { Settings } from '../config/settings.ts';
import type { BootState } from '../kernel/secure-boot.ts';
import type { Check } from './doctor.ts';

/** The boot of this machine in words. */
export function bootText({ firmware, secureBoot, setupMode, lockdown }: BootState): string {
  const locked = lockdown === undefined ? '' : `; kernel lockdown: ${lockdown}`;
  if (firmware === 'other') return `this is not an EFI machine, it has no secure boot${locked}`;
  if (secureBoot === undefined)
    return `the variables of the firmware cannot be read: secure boot is not known${locked}`;
  const open = setupMode === true ? ', but in setup mode: its keys can be replaced' : '';
  return `secure boot is ${secureBoot ? 'on' : 'off'}${open}${locked}`;
}

/** The firmware has checked what was booted, and by keys that not everyone can replace. */
function isSecure({ secureBoot, setupMode }: BootState): boolean {
  return secureBoot === true && setupMode !== true;
}

/**
 * Why nothing may be changed on a machine that was booted so, or undefined. What is not known counts as off. Slots that are
 * shown stay, none is brought back.
 */
export function bootRefusal(values: Settings['values'], boot: BootState): string | undefined {
  if (values['integrity.require_secure_boot'] !== 'yes' || isSecure(boot)) return undefined;
  return `integrity.require_secure_boot is set, and ${bootText(boot)}`;
}

/** The line of `doctor`. Without the requirement every answer is a good one. */
export function bootCheck(boot: BootState, refusal: string | undefined): Check {
  const name = 'secure boot';
  if (refusal === undefined) return { name, state: 'ok', detail: bootText(boot) };
  return {
    name,
    state: 'failed',
    detail: refusal,
    fix: 'Turn secure boot on in the setup of the firmware, or set integrity.require_secure_boot = "no" and restart the daemon.',
  };
}
