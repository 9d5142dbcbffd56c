import type { Asked } from './machine-state.ts';

/** Where the slot of `useSlot` shows its tree. */
export const slotTree = '/run/persona/slots/desk/root';

/** Makes a base, a persona, and the slot `desk` that shows it, with a note written in it. The daemon runs. */
export async function useSlot(machine: Asked): Promise<void> {
  const script = `set -e
    mkdir -p /root/base/etc
    echo base >/root/base/etc/motd
    cp -r /root/base /root/tree
    echo work >/root/tree/etc/motd
    personactl base import small --from /root/base
    personactl persona create work --base small --from-tree /root/tree -o /root/work.osp
    personactl slot create desk
    personactl swap desk work
    echo mine >${slotTree}/etc/note`;
  await machine.ok('sh', '-c', script);
}

/** The texts of the slot that an upgrade must keep. */
export async function seenInSlot(machine: Asked): Promise<string> {
  return machine.ok('cat', `${slotTree}/etc/motd`, `${slotTree}/etc/note`);
}
