/** Names of one machine architecture. */
export interface Machine {
  /** As Node and its packages call it. */
  node: 'x64' | 'arm64';
  /** As Debian calls it. */
  debian: 'amd64' | 'arm64';
}

/** Throws for machines the locked runtime does not exist for. Native parts are those of the machine that builds. */
export function machineOf(arch: string): Machine {
  if (arch === 'x64') return { node: 'x64', debian: 'amd64' };
  if (arch === 'arm64') return { node: 'arm64', debian: 'arm64' };
  throw new Error(`there is no runtime for ${arch}: only x64 and arm64 are packaged`);
}
