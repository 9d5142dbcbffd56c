import {
  chmodSync,
  copyFileSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** A tree that becomes a package; paths are those of the installed file. */
export class Staging {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** The place of an installed path, with the folders above it. */
  at(path: string): string {
    const place = join(this.folder, path);
    mkdirSync(dirname(place), { recursive: true });
    return place;
  }

  write(path: string, content: string | Uint8Array, mode = 0o644): void {
    writeFileSync(this.at(path), content);
    chmodSync(this.at(path), mode);
  }

  /** Without name and time in the header, so that the same content gives the same bytes. */
  writeCompressed(path: string, content: string | Uint8Array): void {
    this.write(`${path}.gz`, gzipSync(content, { level: 9 }));
  }

  copy(from: string, path: string, mode = 0o644): void {
    copyFileSync(from, this.at(path));
    chmodSync(this.at(path), mode);
  }

  link(target: string, path: string): void {
    symlinkSync(target, this.at(path));
  }

  folderAt(path: string): void {
    mkdirSync(join(this.folder, path), { recursive: true });
  }

  /** Installed paths of all plain files, sorted. */
  files(): string[] {
    return readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.folder.length + 1))
      .filter((path) => !path.startsWith('DEBIAN/'))
      .sort();
  }

  /** Space after the installation in KiB, as Debian counts it: whole KiB per file, one per folder or link. */
  installedKib(): number {
    const entries = readdirSync(this.folder, { recursive: true, withFileTypes: true });
    return entries.reduce((sum, entry) => {
      const size = entry.isFile() ? statSync(join(entry.parentPath, entry.name)).size : 1;
      return sum + Math.ceil(size / 1024);
    }, 0);
  }

  /** Gives folders the mode that everybody can pass, and everything the time `epoch` (seconds). */
  settle(epoch: number): void {
    const entries = readdirSync(this.folder, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      const place = join(entry.parentPath, entry.name);
      if (entry.isDirectory()) chmodSync(place, 0o755);
      lutimesSync(place, epoch, epoch);
    }
    chmodSync(this.folder, 0o755);
    lutimesSync(this.folder, epoch, epoch);
  }
}
