import type { Command } from '../command.ts';

/** The command that is asked most often: it also has a program of its own (`../status-main.ts`). */
export const statusCommand: Command = {
  name: 'status',
  group: 'Everyday',
  summary: 'Show what is active, what runs and what needs attention.',
  about: ['Exit status 3 when the daemon does not run.'],
  operands: [],
  flags: [],
  examples: [['personactl status', '']],
  load: async () => (await import('../run/status.ts')).status,
};
