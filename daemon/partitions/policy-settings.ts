const MiB = 2 ** 20;

/** What the policies go by. Shares are of the total memory, 0 to 1. */
export interface PolicySettings {
  /** No side's share is smaller. From the specification. */
  minShare: number;
  /** No side's share is greater. From the specification. */
  maxShare: number;
  /** Where shares begin, and stay with `static`: the user's part. */
  userShare: number;
  threshold: {
    /** Use above this part of the own share asks for more. From the specification. */
    growAbove: number;
    /** Use below this part of the own share gives some away. From the specification. */
    shrinkBelow: number;
    /** Points of the total that one step moves. From the specification. */
    step: number;
  };
  protective: {
    /** A side needs memory when tasks wait this share of the time (lmkd acts at 70 ms in 1 s). */
    needWaiting: number;
    /** Below this a side is at ease (Senpai: 10 ms in 6 s). */
    easeWaiting: number;
    /** Limits go at once when all tasks of the limited side wait this share of the time. */
    stallWaiting: number;
    /** Of the total: smaller changes are not worth a write. */
    deadBand: number;
    /** Between two moves against the same side. */
    coolDownMs: number;
    /** A limit on a giving side ends after this, needed or not. */
    holdMs: number;
    /** A giving side keeps its use times this above what it needs. */
    donorHeadroom: number;
  };
  guard: {
    /** No limit is below this. */
    floorBytes: number;
    /** Room above what cannot be taken from a side: bytes, and a share of it. */
    floorRoomBytes: number;
    floorRoomShare: number;
    /** With less free swap no limit stands: it would only stall (memavaild lets go at 100 MiB). */
    swapFreeBytes: number;
    /** Held back for so long without getting below the limit: the limit goes. */
    stallMs: number;
    /** No decisions for so long after the machine has slept. */
    resumeHoldMs: number;
    /** More time than this between two looks means that it slept, or that we did. */
    gapMs: number;
  };
}

/** Constants of the specification where it has them; the others from `senpai`, `lmkd`, `memavaild` and the simulator. */
export const policySettings: PolicySettings = {
  minShare: 0.2,
  maxShare: 0.8,
  userShare: 0.5,
  threshold: { growAbove: 0.8, shrinkBelow: 0.2, step: 0.1 },
  protective: {
    needWaiting: 0.07,
    easeWaiting: 0.002,
    stallWaiting: 0.1,
    deadBand: 0.02,
    coolDownMs: 10_000,
    holdMs: 60_000,
    donorHeadroom: 1.03,
  },
  guard: {
    floorBytes: 100 * MiB,
    floorRoomBytes: 64 * MiB,
    floorRoomShare: 0.05,
    swapFreeBytes: 100 * MiB,
    stallMs: 10_000,
    resumeHoldMs: 30_000,
    gapMs: 20_000,
  },
};
