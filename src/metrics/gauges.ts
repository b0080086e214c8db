import { Counter, Gauge, type Registry } from 'prom-client'
import packageJson from '../../package.json' with { type: 'json' }
import { type Db, poolOf } from '../database.ts'
import type { WorkQueue } from '../work-queue.ts'
import { createJobCounts } from './jobs.ts'

// What is read at each scrape; the others are counted as they happen.

export function gaugeBuild(registers: Registry[]): void {
  const build = new Gauge({
    name: 'mailwright_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'] as const,
    registers,
  })
  build.set({ version: packageJson.version, node: process.version }, 1)
}

export function gaugePool(registers: Registry[], db: Db): void {
  const pool = poolOf(db)
  new Gauge({
    name: 'mailwright_database_connections',
    help: 'Connections of the pool, by whether a request has one.',
    labelNames: ['state'] as const,
    registers,
    collect() {
      this.set({ state: 'idle' }, pool.idleCount)
      this.set({ state: 'used' }, pool.totalCount - pool.idleCount)
    },
  })
  new Gauge({
    name: 'mailwright_database_connections_max',
    help: 'How many connections the pool may have.',
    registers,
    collect() {
      this.set(pool.options.max)
    },
  })
  new Gauge({
    name: 'mailwright_database_waiting',
    help: 'Statements that wait for a connection.',
    registers,
    collect() {
      this.set(pool.waitingCount)
    },
  })
}

export function gaugePasswords(registers: Registry[], derivations: WorkQueue): void {
  new Gauge({
    name: 'mailwright_passwords_running',
    help: 'Passwords that are hashed now.',
    registers,
    collect() {
      this.set(derivations.running)
    },
  })
  new Gauge({
    name: 'mailwright_passwords_waiting',
    help: 'Passwords that wait to be hashed.',
    registers,
    collect() {
      this.set(derivations.waiting)
    },
  })
  new Counter({
    name: 'mailwright_passwords_refused_total',
    help: 'Passwords that were refused (503) because too many waited, or waited too long.',
    registers,
    collect() {
      this.reset()
      this.inc(derivations.refused)
    },
  })
}

export function gaugeJobs(registers: Registry[], db: Db): void {
  const counts = createJobCounts(db)
  new Gauge({
    name: 'mailwright_database_up',
    help: 'Whether the database says within two seconds how many jobs there are.',
    registers,
    async collect() {
      this.set((await counts()) ? 1 : 0)
    },
  })
  new Gauge({
    name: 'mailwright_jobs',
    help: 'Jobs of all replicas: due and waiting, running, due later, and given up. Counted up to 100,000.',
    labelNames: ['task', 'state'] as const,
    registers,
    async collect() {
      const known = await counts()
      this.reset()
      for (const { task, state, count } of known ?? []) this.set({ task, state }, count)
    },
  })
}
