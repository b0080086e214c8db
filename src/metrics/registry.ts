import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import packageJson from '../../package.json' with { type: 'json' }
import { type Db, poolOf } from '../database.ts'
import { securityEvents } from '../security-events.ts'
import type { WorkQueue } from '../work-queue.ts'
import { createJobCounts } from './jobs.ts'

declare module 'fastify' {
  interface FastifyInstance {
    metrics?: Metrics
  }
}

export interface Metrics {
  /** By route template: what a path names is in no label, so that there are only so many series, and no names. */
  requests: Histogram<'method' | 'route' | 'status_class'>
  problems: Counter<'code'>
  securityEvents: Counter<'event'>
  contentType: string
  /** Everything, in the text format of Prometheus. */
  text(): Promise<string>
}

/** From a read by primary key to a password that waited half a minute for its turn. */
const buckets = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** Of one instance of the service; those of the process are the same for all. */
export function createMetrics({ db, derivations }: { db: Db; derivations: WorkQueue }): Metrics {
  const registers = [new Registry()]
  const requests = new Histogram({
    name: 'mailwright_http_request_duration_seconds',
    help: 'Time from the headers of a request to the end of its answer.',
    labelNames: ['method', 'route', 'status_class'] as const,
    buckets,
    registers,
  })
  const problems = new Counter({
    name: 'mailwright_problems_total',
    help: 'Refused requests by the code of the problem.',
    labelNames: ['code'] as const,
    registers,
  })
  const events = new Counter({
    name: 'mailwright_security_events_total',
    help: 'Security events by their name in the log.',
    labelNames: ['event'] as const,
    registers,
  })
  for (const event of Object.keys(securityEvents)) events.inc({ event }, 0) // a rate needs the zero before the one
  gaugeBuild(registers)
  gaugePool(registers, db)
  gaugePasswords(registers, derivations)
  gaugeJobs(registers, db)
  const all = Registry.merge([...registers, ofProcess()])
  return {
    requests,
    problems,
    securityEvents: events,
    contentType: all.contentType,
    text: () => all.metrics(),
  }
}

let processRegistry: Registry | undefined

/** Processor, memory, event loop, garbage collection, start time. Its observers end with the process only. */
function ofProcess(): Registry {
  if (processRegistry) return processRegistry
  processRegistry = new Registry()
  collectDefaultMetrics({ register: processRegistry })
  return processRegistry
}

function gaugeBuild(registers: Registry[]): void {
  const build = new Gauge({
    name: 'mailwright_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'] as const,
    registers,
  })
  build.set({ version: packageJson.version, node: process.version }, 1)
}

function gaugePool(registers: Registry[], db: Db): void {
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

function gaugePasswords(registers: Registry[], derivations: WorkQueue): void {
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

function gaugeJobs(registers: Registry[], db: Db): void {
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
    help: 'Jobs of all replicas: due and waiting, running, due later, and failed for good. Counted up to 100,000.',
    labelNames: ['state'] as const,
    registers,
    async collect() {
      const known = await counts()
      this.reset()
      for (const [state, count] of Object.entries(known ?? {})) this.set({ state }, count)
    },
  })
}
