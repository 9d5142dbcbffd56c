import type { Flag } from '../command.ts';

/** What a program in a sandbox may be given, in the same words wherever one is started. */
export const grantFlags: readonly Flag[] = [
  { name: 'net', summary: 'Grant the network of the machine.' },
  { name: 'display', summary: 'Grant the display (Wayland, X11): all windows, by X11.' },
  { name: 'wayland', summary: 'Grant the display by Wayland alone.' },
  { name: 'sound', summary: 'Grant sound (PipeWire, PulseAudio).' },
  { name: 'gpu', summary: 'Grant the graphics devices.' },
  { name: 'bus', summary: 'Grant the session bus.' },
  { name: 'agent', summary: 'Grant the SSH agent.' },
  {
    name: 'show',
    value: 'FOLDER',
    many: true,
    summary: 'Grant reading a folder of yours, at the same path.',
    complete: 'folder',
  },
  {
    name: 'share',
    value: 'FOLDER',
    many: true,
    summary: 'Grant reading and writing a folder of yours, at the same path.',
    complete: 'folder',
  },
];
