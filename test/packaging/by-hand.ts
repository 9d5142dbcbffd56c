const lib = '/usr/lib/personad';

/** What an administrator starts where systemd does not run. */
export const daemon: readonly string[] = [`${lib}/node`, `${lib}/dist/personad.mjs`];

/** Settings for a machine whose disk is memory: what the daemon sets aside must be small. */
export const smallState = `[space]
reserve = "4MiB"
keep_free = "1MiB"
keep_free_percent = 0
upper_volume = "96MiB"
`;
