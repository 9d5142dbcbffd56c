import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { unmount } from '../../../daemon/kernel/mounts.ts';
import { openFolder } from '../../../daemon/kernel/openat.ts';
import { failedGenerations } from '../../../daemon/personas/failed-generations.ts';
import { SlotBook } from '../../../daemon/personas/slot-book.ts';
import { readFacts } from '../../../daemon/personas/slot-rows.ts';
import { when } from '../../support/needs.ts';
import {
  ask,
  furnish,
  mustDo,
  rootRequest,
  smallDisk,
  startSilent,
} from '../../support/silent-daemon.ts';

const days = (count: number) => count * 86_400_000;

when(test, { root: true, tools: ['bwrap'] })(
  'a slot that returned by itself is named with its failed generation and what was written in it (SECURITY 28)',
  async (t) => {
    const { root, folder } = smallDisk(t, 256);
    const daemon = await startSilent(root);
    t.teardown(() => daemon.stop());
    await furnish(daemon, folder);
    const slot = join(root, 'run/slots/work');
    await mustDo(daemon, (m) => m['slot.swap']({ slot: 'work', persona: 'a' }, rootRequest));
    writeFileSync(join(slot, 'root/etc/note'), 'written in a');
    // Somebody is inside: going back to `a` shows this very superblock, with what was written in it.
    const inside = openFolder(join(slot, 'root/etc'));
    t.teardown(() => inside.close());
    await mustDo(daemon, (m) => m['slot.swap']({ slot: 'work', persona: 'b' }, rootRequest));

    // Somebody takes the slot's own mount off and puts a file in its place: nothing can be shown there.
    await unmount(slot, { detach: true });
    rmSync(slot, { recursive: true });
    writeFileSync(slot, '');
    const result = await ask(daemon, (m) =>
      m['slot.swap']({ slot: 'work', persona: 'a' }, rootRequest),
    );
    t.truthy((result.result as { failure?: unknown } | undefined)?.failure, JSON.stringify(result));

    const book = new SlotBook();
    book.load(await readFacts(daemon.store));
    const failed = book.generations('work').at(-1);
    t.like(failed, { state: 'failed' });
    const notices = await daemon.rooms.methods(daemon.engine).status.notices();
    const notice = notices.find(({ text }) => /by itself/.test(text));
    t.regex(
      notice?.text ?? '',
      new RegExp(
        `^slot work returned from generation ${failed?.number} by itself .*\\(${failed?.upper}\\) is kept`,
      ),
    );
    t.is(notice?.command, 'personactl history work');

    const retention = { generations: 20, failedMs: days(7) };
    const at = (ms: number) => failedGenerations(book, retention, Date.now() + ms).length;
    t.is(at(days(6)), 1);
    t.is(at(days(8)), 0, 'it is not spoken of for ever');
  },
);
