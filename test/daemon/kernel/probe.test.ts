import { readdirSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { mountErofs } from '../../../daemon/kernel/erofs.ts';
import { openFds } from '../../../daemon/kernel/fd.ts';
import { readMountinfo } from '../../../daemon/kernel/mountinfo.ts';
import { capabilities } from '../../../daemon/kernel/probe.ts';
import { emptyErofs } from '../../../daemon/kernel/probe-image.ts';
import { openImage, scratchFolder } from '../../support/mount-scratch.ts';
import { hasTool, run, when } from '../../support/needs.ts';

const rooted = when(test, { root: true });

rooted(
  'every capability says what it is used for and how to get it, and nothing stays behind',
  async (t) => {
    const folder = scratchFolder(t);
    const before = openFds();
    const { list, ways } = await capabilities(folder, folder);
    t.is(new Set(list.map(({ id }) => id)).size, list.length);
    for (const one of list) {
      t.regex(one.usedFor, /\w{4}/, one.id);
      t.regex(one.fix, /\.$/, one.id);
      if (!one.works) t.not(one.detail, '', one.id);
    }
    const works = (id: string) => list.find((one) => one.id === id)?.works;
    t.is(ways.flip, works('mount-beneath') ? 'beneath' : 'symlink');
    t.is(works('tool-bwrap'), hasTool('bwrap'));
    t.deepEqual(readdirSync(folder), []);
    t.false(readMountinfo().some(({ at }) => at.startsWith(folder)));
    t.is(openFds(), before);
    t.is(await capabilities(folder, folder), await capabilities(folder, folder));
  },
);

rooted('the image of the probe is a correct one', async (t) => {
  const folder = scratchFolder(t);
  writeFileSync(`${folder}/image`, emptyErofs());
  if (hasTool('fsck.erofs')) t.notThrows(() => run('fsck.erofs', `${folder}/image`));
  using file = openImage(`${folder}/image`);
  using mount = await mountErofs({ file }, 'loop');
  t.deepEqual(readdirSync(mount.path), []);
});
