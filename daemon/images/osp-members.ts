/** The members of a persona file, in the order ours are written. */
export const ospMembers = {
  metadata: 'metadata.json',
  diff: 'diff_image.img',
  applications: 'application_list.txt',
  seed: 'data_seed.tar.gz',
  runtime: 'runtime_config.json',
  signature: 'signature',
} as const;

/** A member whose digest stands in metadata.json. */
export type OspContentName =
  | typeof ospMembers.diff
  | typeof ospMembers.applications
  | typeof ospMembers.seed
  | typeof ospMembers.runtime;

/** Members that metadata.json lists, all of which must be there, in the order of writing. */
export const ospContentNames: readonly OspContentName[] = [
  ospMembers.diff,
  ospMembers.applications,
  ospMembers.seed,
  ospMembers.runtime,
];

/** Bytes of the members that are read into memory whole. */
export const ospBytesMax = {
  [ospMembers.metadata]: 256 * 1024,
  [ospMembers.applications]: 1024 * 1024,
  [ospMembers.runtime]: 16 * 1024 * 1024,
  [ospMembers.signature]: 4 * 1024,
} as const;

/** Position of the data of diff_image.img in files of ours: a page, so that it can be mounted in place. */
export const ospAlignment = 4096;

/** The format this version writes, and the newest it reads. */
export const ospFormatVersion = 1;
