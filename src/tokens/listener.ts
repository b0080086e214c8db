import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** Hears on a connection of its own what other replicas, or administrators, have changed. */
export interface ChangeListener {
  /** Whether everything that was committed until half a second ago has been heard. */
  isCurrent(): Promise<boolean>
  /** Until it listens for the first time, or cannot. */
  started: Promise<void>
  close(): Promise<void>
}

const channel = 'mailwright_tokens' // the triggers of migrations/0008_tokens.sql
const trustMs = 500
const answerMs = 5_000 // a connection that is cut off in the middle would else be silent for ever
const againMs = 1_000

/** Where there is nothing to listen on, nothing is ever known. */
export const deaf: ChangeListener = {
  isCurrent: async () => false,
  started: Promise.resolve(),
  close: async () => {},
}

/**
 * `onChange` is called for each change, and whenever some may have been missed: when the connection is made and when
 * it is lost.
 */
export function listenForChanges(
  databaseUrl: string,
  onChange: () => void,
  onLoss: (reason: string) => void,
): ChangeListener {
  const stopping = new AbortController()
  let listening: pg.Client | undefined
  let confirmedAt = 0
  let confirming: Promise<boolean> | undefined
  const { promise: started, resolve: start } = Promise.withResolvers<void>()

  async function listen(client: pg.Client): Promise<void> {
    client.on('notification', onChange)
    const lost = new Promise<Error | undefined>((resolve) =>
      client.on('error', resolve).on('end', () => resolve(undefined)),
    )
    try {
      await client.connect()
      await client.query(`listen ${channel}`)
      if (stopping.signal.aborted) return
      onChange()
      confirmedAt = 0
      listening = client
      start()
      const error = await lost
      throw error ?? new Error('the connection was closed')
    } finally {
      listening = undefined
      onChange()
      await client.end().catch(() => {})
    }
  }

  /** Notifications come before the answer to what was asked after them (PostgreSQL, "Asynchronous Operation"). */
  async function confirm(client: pg.Client): Promise<boolean> {
    const askedAt = performance.now()
    try {
      await client.query('select 1')
      confirmedAt = askedAt
      return listening === client
    } catch {
      await client.end().catch(() => {})
      return false
    }
  }

  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await listen(openClient(databaseUrl)).catch((error: Error) => {
        start()
        if (!stopping.signal.aborted) onLoss(error.message)
      })
      await sleep(againMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })()

  return {
    started,
    async isCurrent() {
      if (!listening) return false
      if (performance.now() - confirmedAt < trustMs) return true
      confirming ??= confirm(listening).finally(() => {
        confirming = undefined
      })
      return confirming
    },
    async close() {
      stopping.abort()
      await listening?.end().catch(() => {})
      await loop
    },
  }
}

function openClient(connectionString: string): pg.Client {
  return new pg.Client({
    connectionString,
    application_name: 'mailwright tokens',
    connectionTimeoutMillis: 5_000,
    query_timeout: answerMs,
    keepAlive: true,
  })
}
