/** How the daemon says that an application runs. */
interface Said {
  profile: string;
  rule: string;
}

/** Whether it starts apart or not at all, by the word of who may decide. What is only called sensitive starts also where that cannot be had. */
export const isClosed = ({ profile, rule }: Said): boolean =>
  profile === 'secure' && rule !== 'sensitive';

/** The words between the launcher and the command: by them nothing is started without an answer of the daemon, or on one that says less. */
export const launchWords = ({ app, closed }: { app: string; closed?: true | undefined }): string =>
  `${closed ? '--profile secure ' : ''}${app} --`;
