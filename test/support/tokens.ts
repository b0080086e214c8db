import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient, outcome } from './client.ts'

export interface MadeToken {
  id: string
  client: Client
  expiresAt: string
}

/** Makes a token with `maker` and a client that uses it at `url`. */
export async function makeToken(url: string, maker: Client, wish: object = {}): Promise<MadeToken> {
  const made = await maker.post('/v1/tokens', { label: 'A job', scopes: ['domains:read'], ...wish })
  assert.equal(outcome(made), '201', JSON.stringify(made.body))
  const { id, token, expires_at: expiresAt } = made.body
  return { id, client: createClient(url, token), expiresAt }
}

/** An `iat` is in whole seconds, and a timer may fire a millisecond early. */
export function untilNextSecond(): Promise<void> {
  return sleep(1020 - (Date.now() % 1000))
}
