import test from 'ava';
import { programOf, wordsOfExec } from '../../../../daemon/profiles/importers/exec-line.ts';

const lines: readonly (readonly [string, string[] | undefined])[] = [
  ['paint %U', ['paint']],
  ['  /usr/bin/paint   --new %f ', ['/usr/bin/paint', '--new']],
  ['"/opt/My Paint/paint" --size 50%%', ['/opt/My Paint/paint', '--size', '50%']],
  ['sh -c "echo \\"hi\\" \\$HOME"', ['sh', '-c', 'echo "hi" $HOME']],
  ['paint "" x', ['paint', '', 'x']],
  ['paint "open', undefined],
  ['paint x"y', undefined],
  ['paint "a"b', undefined],
  ['', []],
  ['x '.repeat(200), undefined],
  [`paint ${'x'.repeat(5000)}`, undefined],
];

test('a command line is taken apart by the rules of desktop entries', (t) => {
  for (const [line, words] of lines) t.deepEqual(wordsOfExec(line), words, line);
});

test('the program of a command line, unless it runs others', (t) => {
  t.is(programOf(['paint', 'x']), 'paint');
  t.is(programOf(['env', 'A=1', 'B=2', '/usr/bin/paint']), '/usr/bin/paint');
  for (const words of [
    [],
    [''],
    ['env'],
    ['env', '-i', 'paint'],
    ['/bin/sh', '-c', 'paint'],
    ['/usr/bin/python3.11', 'paint'],
    ['flatpak', 'run', 'paint'],
    ['env', 'A=1', 'wine', 'x.exe'],
  ])
    t.is(programOf(words), undefined, words.join(' '));
});
