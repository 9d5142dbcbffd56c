import { randomBytes } from 'node:crypto';
import { groupId, type Hierarchy, readKnob } from '../kernel/cgroups.ts';
import { folderOf, groupOf, groupsIn } from '../kernel/placed-process.ts';
import { endEmptyScope, escapeUnit, placeInScope, unescapeUnit } from '../kernel/scope-unit.ts';
import { busRuns } from '../kernel/system-bus.ts';
import type { LaunchGroup, LaunchGroups } from './launch-groups.ts';

/** Where systemd keeps what users run (systemd.special(7)). */
export const USERS = 'user.slice';
const ofUser = /^user-(\d{1,10})\.slice$/;
const ofLaunch = /^app-personad-(.+)-[0-9a-f]{12}\.scope$/;
const ofSession = /^session-.+\.scope$/;
/** Groups in which desktops and terminals start shells and applications: whoever leaves one loses nothing by it. */
const ofDesktop = /^(app|vte-spawn|tmux-spawn)-.+\.scope$/;
/** Knobs by which somebody has limited what is in a group. */
const limitKnobs = ['memory.max', 'memory.high', 'cpu.max'];

const lastPart = (group: string): string => group.slice(group.lastIndexOf('/') + 1);
const sliceOf = (account: number): string => `user-${account}.slice`;

/**
 * Why a program that was found in a group of a user is left in it, or undefined. Logind knows who is in a session by its scope: it ends them with it,
 * and lends them the screen and the sound. Pure but for `knob`.
 */
export function keptIn(
  group: string,
  account: number,
  knob: (group: string, name: string) => string | undefined,
): string | undefined {
  const path = group.split('/');
  const [, , unit = '', slice] = path;
  const leaf = lastPart(group);
  if (ofSession.test(unit)) return `it stays in its session (${unit})`;
  const isOfDesktop =
    unit === `user@${account}.service` && slice === 'app.slice' && ofDesktop.test(leaf);
  if (!isOfDesktop && !ofLaunch.test(unit)) return `it stays in ${leaf}`;
  const above = path.slice(2).map((_, at) => path.slice(0, at + 3).join('/'));
  const limited = above.find((one) => limitKnobs.some((name) => /^\d/.test(knob(one, name) ?? '')));
  return limited && `it stays in ${leaf}, with the limits of ${lastPart(limited)}`;
}

/**
 * Groups that systemd makes, the one writer of its tree: a transient scope for each launch, asked of PID 1, beside the sessions of
 * its user. Only what runs below its user's slice is put there: the limits of a service are not to be got rid of by it.
 */
export function scopes(hierarchy: Hierarchy | undefined): LaunchGroups {
  const folder = (group: string): string => `${hierarchy?.at ?? ''}/${group}`;
  return {
    folder,
    of: (pid) => groupOf(pid, hierarchy),
    obstacle() {
      if (hierarchy === undefined) return 'systemd makes no groups of cgroup version 2 here';
      return busRuns() ? undefined : 'systemd cannot be asked: the system bus does not run';
    },
    refusal({ pid }, account) {
      const slice = `${USERS}/${sliceOf(account)}`;
      const at = hierarchy && folderOf(pid, hierarchy);
      return at?.startsWith(`${folder(slice)}/`)
        ? undefined
        : `the caller is not below ${slice}: it stays in its service`;
    },
    keeps: ({ pid }, account) =>
      keptIn(groupOf(pid, hierarchy) ?? '', account, (group, knob) =>
        readKnob(folder(group), knob),
      ),
    // A unit's name has 255 bytes at most.
    name: (app, account) =>
      `${USERS}/${sliceOf(account)}/app-personad-${escapeUnit(app).slice(0, 200)}-${randomBytes(6).toString('hex')}.scope`,
    async put(group, process, weights) {
      if (hierarchy === undefined) return false;
      const [, slice = ''] = group.split('/');
      const unit = { name: lastPart(group), slice, description: 'Started by personad', weights };
      return await placeInScope(unit, hierarchy, process);
    },
    // systemd itself removes what has become empty, but not what never had anybody in it.
    async drop(group) {
      const events = readKnob(folder(group), 'cgroup.events');
      if (events?.includes('populated 0')) await endEmptyScope(lastPart(group));
      return groupId(folder(group)) === undefined;
    },
    async found() {
      const all: LaunchGroup[] = [];
      for (const slice of await groupsIn(folder(USERS))) {
        const account = Number(ofUser.exec(slice)?.[1] ?? Number.NaN);
        if (Number.isNaN(account)) continue;
        for (const leaf of await groupsIn(folder(`${USERS}/${slice}`))) {
          const app = ofLaunch.exec(leaf)?.[1];
          const group = `${USERS}/${slice}/${leaf}`;
          if (app !== undefined) all.push({ group, account, app: unescapeUnit(app) });
        }
      }
      return all;
    },
  };
}
