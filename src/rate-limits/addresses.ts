import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { windowSeconds } from './limits.ts'
import { showBalance, tooMany } from './refusal.ts'

interface Options {
  name: string
  /** What is counted, in words. */
  what: string
  /** Absent: as often as it likes. */
  limit: number | undefined
}

/**
 * For operations without a token: a budget of each IP address, in the memory of this replica. Of IPv6 it is one of each
 * /64, since a subscriber has at least that many addresses (RFC 6177 §2).
 */
export const addressBudget = fp(async (app: FastifyInstance, { name, what, limit }: Options) => {
  if (limit === undefined) return
  await app.register(rateLimit, { global: false, ipv6Subnet: 64 })
  const count = app.createRateLimit({ max: limit, timeWindow: windowSeconds * 1000 })
  app.addHook('onRequest', async (request, reply) => {
    const state = await count(request)
    if (state.isAllowed || !state.isExceeded) return
    const balance = { name, limit, remaining: state.remaining, seconds: state.ttlInSeconds }
    showBalance(reply, balance)
    throw tooMany(request, balance, what)
  })
})
