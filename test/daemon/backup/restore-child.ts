// Restores a backup into a state tree and takes it up, dying by SIGKILL at a fault point: ROOT FILE POINT.
import type { Faults } from '../../../daemon/changes/faults.ts';
import { mustDo, rootRequest, startSilent } from '../../support/silent-daemon.ts';

const [root = '', file = '', point = ''] = process.argv.slice(2);
let count = 0;
let armed = false;
const faults: Faults = {
  at: async () => {
    if (!armed) return;
    count += 1;
    if (count !== Number(point)) return;
    process.kill(process.pid, 'SIGKILL');
    await new Promise(() => undefined);
  },
};

const first = await startSilent(root, { faults });
armed = true;
await mustDo(first, (methods) =>
  methods['system.restore']({ file, replace: true, endSlots: true }, rootRequest),
);
await first.stop();
await (await startSilent(root, { faults })).stop();
