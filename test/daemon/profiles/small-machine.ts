import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Request } from '../../../daemon/api/rooms.ts';
import { rootRequest } from '../../support/silent-daemon.ts';

/** A user of every Debian, whose home is /usr/games. */
export const games = { uid: 5, gid: 60, home: 'usr/games' };

/** That user, asking through the socket of everybody. */
export const gamesRequest: Request = {
  ...rootRequest,
  caller: { pid: process.pid, uid: games.uid, gid: games.gid, groups: [], socket: 'user' },
  level: 'any',
};

/** Where a user keeps his files. */
export const gamesFolder = `machine/${games.home}/.config/persona/apps.d`;

/** Where he keeps desktop entries of his own. */
export const gamesEntries = `machine/${games.home}/.local/share/applications`;

/** A private tree with a machine in it, which goes with the test. */
export interface SmallMachine {
  root: string;
  /** Writes a file below the tree. */
  write(path: string, text: string, more?: { mode?: number; owner?: number }): string;
}

/** A desktop entry. */
export const entry = (name: string, exec: string, more = ''): string =>
  `[Desktop Entry]\nType=Application\nName=${name}\nExec=${exec}\n${more}`;

/** An empty machine. */
export function smallMachine(t: ExecutionContext): SmallMachine {
  const root = mkdtempSync(join(tmpdir(), 'personad-machine-'));
  // What lists of a machine are read as nobody.
  chmodSync(root, 0o711);
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, 'machine'));
  return {
    root,
    write(path, text, { mode = 0o644, owner } = {}) {
      const file = join(root, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
      chmodSync(file, mode);
      if (owner !== undefined) chownAll(root, path, owner);
      return file;
    },
  };
}

/** The file and the folders of its owner above it. */
function chownAll(root: string, path: string, owner: number): void {
  for (let at = path; /\/\.(config|local)/.test(at) || at === path; at = dirname(at))
    chownSync(join(root, at), owner, owner);
}

/** A machine with one application, of which many lists tell. */
export function paintMachine(t: ExecutionContext): SmallMachine {
  const machine = smallMachine(t);
  const { write } = machine;
  write('machine/usr/bin/paint', '#!/bin/true\n', { mode: 0o755 });
  const more = 'Categories=Graphics;WebBrowser;\n';
  write('machine/usr/share/applications/org.paint.Paint.desktop', entry('Paint', 'paint %U', more));
  write('machine/usr/share/applications/script.desktop', entry('Script', 'python3 -m script'));
  write(
    'machine/etc/firejail/paint.profile',
    `whitelist \${HOME}/.paint\ncaps.drop all\nnonewprivs\nnoroot\nseccomp\nprivate-bin paint,sh\nfrobnicate\n`,
  );
  write('machine/etc/ananicy.d/00-types.types', '{ "type": "LowLatency_RT", "nice": -12 }\n');
  write(
    'machine/etc/ananicy.d/all/paint.rules',
    '# Paint\n{ "name": "paint", "type": "LowLatency_RT" }\n{ "name": "x", +\n{ "name": "y", "type": "TODO" }\n',
  );
  write(
    'machine/usr/share/psd/browsers/paint',
    'DIRArr[0]="$XDG_CONFIG_HOME/$browser"\nDIRArr[1]="$(touch ROOT/ran)"\nPSNAME="$browser"\n'.replace(
      'ROOT',
      machine.root,
    ),
  );
  write(
    'machine/usr/lib/tuned/quick/tuned.conf',
    '[main]\nsummary=Be quick\ninclude=balanced\n[vm]\nswappiness=1\n[script]\nscript=run.sh\n',
  );
  write('machine/var/lib/dpkg/info/paint-gtk:amd64.list', '/.\n/usr/bin/paint\n');
  write(
    'machine/var/lib/dpkg/status',
    'Package: other\nStatus: install ok installed\n\nPackage: paint-gtk\nInstalled-Size: 2048\nDepends: libc6 (>= 2.34), libgtk | libqt\n',
  );
  return machine;
}
