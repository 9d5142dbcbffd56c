import test from 'ava';
import { decode } from '../../../daemon/images/stream.ts';
import { startAsCaller, startWalker } from '../../../daemon/kernel/as-caller.ts';
import { startConfined } from '../../../daemon/kernel/confined.ts';
import {
  type Child,
  keepDescriptorsFromChildren,
  runProgram,
  startProgram,
} from '../../../daemon/kernel/exec.ts';
import { scratchFolder } from '../../support/mount-scratch.ts';
import { when } from '../../support/needs.ts';
import { benchIn } from '../../support/slots.ts';

const SWAPS = 100;
const deadlineMs = 60_000;
const list = ['-c', 'for fd in /proc/$$/fd/*; do readlink "$fd"; done; true'];
const file = '/bin/bash';

async function textOf(child: Child): Promise<string> {
  let text = '';
  for await (const piece of child.stdout) text += String(piece);
  await child.done;
  return text;
}

/** What each kind of child has open, as the kernel names it. */
const kinds: Record<string, () => Promise<string[]>> = {
  program: async () => (await runProgram({ file, args: list, deadlineMs })).stdout.split('\n'),
  streaming: async () =>
    (await textOf(await startProgram({ file, args: list, deadlineMs }))).split('\n'),
  'as the caller': async () => {
    const caller = { uid: 61_184, gid: 61_184, groups: [] };
    return (await textOf(await startAsCaller({ argv: [file, ...list], caller, deadlineMs }))).split(
      '\n',
    );
  },
  walker: async () => {
    const caller = { uid: 0, gid: 0, groups: [] };
    const child = await startWalker({ path: '/proc/self/fd', live: true, caller, deadlineMs });
    const targets: string[] = [];
    for await (const { entry } of decode(child.stdout as AsyncIterable<Buffer>)) {
      targets.push(entry.target ?? '');
    }
    await child.done;
    // The tree it walks: a detached mount of its own, which has no name.
    return targets.toSpliced(targets.indexOf('/'), 1);
  },
  confined: async () => {
    const probe = 'for fd in {0..9} {11..300}; do if { : <&$fd; }; then echo $fd; fi; done';
    const child = await startConfined({ argv: [file, '-c', probe], shown: [], deadlineMs });
    // It has no /proc to say more: exactly the three streams, or it is named.
    return (await textOf(child)).split('\n').filter((fd) => !/^[012]?$/.test(fd));
  },
};

/** Pipes and sockets of its own streams, its event loop, nothing, and the folder it looks at. */
const own = /^(pipe:\[\d+\]|socket:\[\d+\]|anon_inode:.*|\/dev\/null|\/proc\/\d+(\/fd)?|)$/;

when(test, { root: true, tools: ['mkfs.erofs', 'bwrap', 'setpriv', 'prlimit'] })(
  'no child of any kind sees a descriptor of the daemon, while a slot is swapped 100 times',
  async (t) => {
    keepDescriptorsFromChildren();
    const bench = await benchIn(t, scratchFolder(t));
    await bench.create('work');
    let swapping = true;
    const swaps = (async () => {
      for (let i = 0; i < SWAPS; i += 1) await bench.swap('work', i % 2 === 0 ? 'a' : 'b');
      swapping = false;
    })();
    const looks = Object.entries(kinds).map(async ([kind, look]) => {
      let looked = 0;
      do {
        const seen = await look();
        t.deepEqual(
          seen.filter((one) => !own.test(one)),
          [],
          kind,
        );
        looked += 1;
      } while (swapping);
      return looked;
    });
    await swaps;
    t.true((await Promise.all(looks)).every((looked) => looked > 0));
  },
);
