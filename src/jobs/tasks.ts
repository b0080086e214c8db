import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import { doveadm, findDoveadm } from './doveadm.ts'
import type { EndSessions } from './queue.ts'

const nothingToKick = 68 // sysexits(3) EX_NOHOST: nobody of this name is logged in
const secondLookMs = 1_000

/** `*` counts only as the whole local part of a domain's mask. */
const safeMask = /^(\*|[a-z0-9_.-]+)@[a-z0-9.-]+$/

export type DoveadmConfig = Pick<Config, 'dataDir' | 'doveadmUrl' | 'doveadmKeyFile'>

/**
 * Ends the live sessions of whoever may no longer log in. Twice, because a login that was in flight at the first time
 * is a session at the second. Doing it again changes nothing.
 */
export async function endSessions(config: DoveadmConfig, payload: unknown): Promise<void> {
  const { mask } = payload as EndSessions
  if (!safeMask.test(mask)) throw new Error('the mask of the sessions to end is not one')
  const place = await findDoveadm(config)
  if (place === undefined) return
  for (const pauseMs of [0, secondLookMs]) {
    await sleep(pauseMs)
    const answer = await doveadm(place, 'kick', { mask: [mask] })
    if (!answer.ok && answer.exitCode !== nothingToKick) throw new Error(`kick ended with ${answer.exitCode}`)
  }
}
