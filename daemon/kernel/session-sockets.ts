/** What of its user's session a program in a sandbox may be given; everything is off unless asked for. */
export interface SessionGrants {
  display?: boolean | undefined;
  /** The same by Wayland alone. */
  wayland?: boolean | undefined;
  sound?: boolean | undefined;
  gpu?: boolean | undefined;
  bus?: boolean | undefined;
  agent?: boolean | undefined;
}

/** The names of displays that compositors take, the first that is free: some begin with 1, and one inside another has the next. */
const waylandDisplays = ['wayland-0', 'wayland-1', 'wayland-2', 'wayland-3'];

/** The options of bubblewrap that show the granted sockets and devices at their usual places. */
export function sessionOptions(grants: SessionGrants, uid: number): string[] {
  const runtime = `/run/user/${uid}`;
  const options: string[] = [];
  const give = (path: string) => options.push('--bind-try', path, path);
  if (grants.display) give('/tmp/.X11-unix');
  if (grants.display || grants.wayland)
    for (const display of waylandDisplays) give(`${runtime}/${display}`);
  if (grants.sound) {
    give(`${runtime}/pipewire-0`);
    give(`${runtime}/pulse`);
  }
  if (grants.bus) {
    give(`${runtime}/bus`);
    options.push('--setenv', 'DBUS_SESSION_BUS_ADDRESS', `unix:path=${runtime}/bus`);
  }
  if (grants.agent) give(`${runtime}/openssh_agent`);
  const devices = grants.gpu ? ['--dev-bind-try', '/dev/dri', '/dev/dri'] : [];
  if (options.length === 0) return devices;
  const folder = ['--perms', '0700', '--dir', runtime, '--setenv', 'XDG_RUNTIME_DIR', runtime];
  return [...folder, ...options, ...devices];
}
