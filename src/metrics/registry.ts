import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import { catalogue } from '../catalogue.ts'
import type { Db } from '../database.ts'
import { securityEvents } from '../security-events.ts'
import type { WorkQueue } from '../work-queue.ts'
import { gaugeBuild, gaugeJobs, gaugePasswords, gaugePool } from './gauges.ts'

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
  // a rate needs the zero before the one
  for (const code of Object.keys(catalogue)) problems.inc({ code }, 0)
  for (const event of Object.keys(securityEvents)) events.inc({ event }, 0)
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
