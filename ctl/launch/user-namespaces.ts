import { readFileSync } from 'node:fs';

function setting(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/**
 * The setting of this machine that keeps users from making namespaces, with the command to change it;
 * undefined when there is none. Root needs none of them but the first.
 */
export function namespacesOff(uid: number): { setting: string; fix: string } | undefined {
  if (setting('user/max_user_namespaces') === '0')
    return {
      setting: 'user.max_user_namespaces is 0',
      fix: 'As root: `sysctl -w user.max_user_namespaces=15000`.',
    };
  if (uid === 0) return undefined;
  if (setting('kernel/unprivileged_userns_clone') === '0')
    return {
      setting: 'kernel.unprivileged_userns_clone is 0',
      fix: 'As root: `sysctl -w kernel.unprivileged_userns_clone=1`.',
    };
  if (setting('kernel/apparmor_restrict_unprivileged_userns') === '1')
    return {
      setting: 'AppArmor lets only listed programs make them',
      fix: 'As root: allow /usr/bin/bwrap in an AppArmor profile, or `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`.',
    };
  return undefined;
}
