/** Exit statuses of a launcher's own, as shells and other launchers have them. */
export const ownFailure = 125;
export const cannotExecute = 126;
export const notThere = 127;
