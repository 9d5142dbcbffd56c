import type { Answer } from '../../ipc/methods/index.ts';
import { collectedMax, formatSize } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { bar, percent } from '../print/bar.ts';
import { columns } from '../print/columns.ts';
import { type Safe, say } from '../print/safe.ts';

const titles = [
  { title: 'KIND' },
  ...['COUNT', 'SIZE', 'CAN BE FREED', 'SHARE'].map((title) => ({ title, side: 'right' as const })),
];

function page(
  { path, totalBytes, freeBytes, reserveBytes, volume, kinds }: Answer<'system.df'>,
  call: Call,
): Safe[] {
  const { style, unicode } = call.out;
  const ours = kinds.reduce((sum, { bytes }) => sum + bytes, 0);
  const free = kinds.reduce((sum, { reclaimableBytes }) => sum + reclaimableBytes, 0);
  const used = 1 - freeBytes / Math.max(1, totalBytes);
  const rows = kinds.map(({ kind, count, bytes, reclaimableBytes }) => [
    kind,
    count,
    formatSize(bytes),
    reclaimableBytes > 0 ? style.yellow(formatSize(reclaimableBytes)) : '',
    say`${style.cyan(bar(bytes / Math.max(1, ours), 12, unicode))} ${percent(bytes / Math.max(1, ours)).padStart(5)}`,
  ]);
  return [
    ...columns(titles, rows, style),
    say`${style.bold(formatSize(ours))} in ${path}; the disk is ${percent(used)} full: ${formatSize(freeBytes)} free of ${formatSize(totalBytes)} (${formatSize(reserveBytes)} kept back)`,
    ...(volume === undefined
      ? []
      : [
          say`Written data is in ${volume.image}: ${formatSize(volume.freeBytes)} free of ${formatSize(volume.totalBytes)}`,
        ]),
    ...(free > 0 ? [say`${formatSize(free)} can be freed: \`personactl gc\``] : []),
  ];
}

/** `personactl system df` */
export async function df(call: Call): Promise<undefined> {
  const client = await call.client();
  const answer = await client.call('system.df', {});
  call.out.result(answer, () => page(answer, call));
}

/** `personactl system gc` */
export async function gc(call: Call): Promise<number | undefined> {
  return runChange(call, 'system.gc', {}, (outcome) => {
    const { removed, more, bytes } = outcome.result;
    call.out.done(outcome, () => {
      if (removed.length === 0) return [say`Nothing to remove: all is in use.`];
      if (removed.length >= collectedMax)
        call.out.note(say`No more go at a time: \`personactl gc\` again removes what is left.`);
      const rows = removed.map((one) => [one.kind, one.name, formatSize(one.bytes)]);
      const heads = [
        { title: 'KIND' },
        { title: 'NAME' },
        { title: 'SIZE', side: 'right' as const },
      ];
      return [
        ...columns(heads, rows, call.out.style),
        ...(more === undefined ? [] : [say`and ${more} more`]),
        say`${call.out.style.bold(formatSize(bytes))} freed.`,
      ];
    });
    return undefined;
  });
}
