/** A program as it was opened: what it is called plays no part. */
export interface Program {
  path: string;
  /** Numbers of the kernel, as text: the largest of them are too large for a number here. */
  device: string;
  inode: string;
}

/**
 * How a program that starts was found to be an application: it is one of the very files that the application is started
 * by, or it only has its name, or it was not found.
 */
export type Recognised =
  | ({ by: 'executable'; package?: string } & Program)
  | { by: 'name'; name: string }
  | { by: 'nothing' };
