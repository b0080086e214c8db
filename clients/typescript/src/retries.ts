import { readCode } from './problems.ts'

export interface Retries {
  /** How often a request is sent at most; 1 = never again. Usually 5. */
  attempts: number
  /** A request that would have to wait longer than this before it is sent again fails at once. Usually 60. */
  longestWaitSeconds: number
  /** How long an attempt may take. Usually 30. */
  timeoutSeconds: number
  /** In place of the global one. */
  fetch: typeof fetch
}

const keyHeader = 'idempotency-key'

/**
 * Sends a request again that was turned away for the moment (429, 503, and 409 while the first one under its key is
 * under way) or got no answer, after what `Retry-After` says, else after a delay that doubles. A POST gets an
 * `Idempotency-Key`, so that it is done once however often it is sent.
 */
export function retrying(options: Retries): (request: Request) => Promise<Response> {
  return async (request) => {
    if (request.method === 'POST' && !request.headers.has(keyHeader))
      request.headers.set(keyHeader, crypto.randomUUID())
    for (let attempt = 1; ; attempt++) {
      const outcome = await send(request, options)
      const seconds = secondsToWait(outcome, attempt)
      const goesOn = attempt < options.attempts && seconds <= options.longestWaitSeconds
      if (!goesOn || !(await mayRepeat(request, outcome))) return settle(outcome)
      if (outcome instanceof Response) await outcome.body?.cancel()
      await sleep(seconds, request.signal)
    }
  }
}

/** An answer, or why there is none. */
type Outcome = Response | { failure: unknown }

async function send(request: Request, options: Retries): Promise<Outcome> {
  const timeout = AbortSignal.timeout(options.timeoutSeconds * 1000)
  try {
    return await options.fetch(request.clone(), { signal: AbortSignal.any([request.signal, timeout]) })
  } catch (failure) {
    return { failure }
  }
}

function settle(outcome: Outcome): Response {
  if (outcome instanceof Response) return outcome
  throw outcome.failure
}

async function mayRepeat(request: Request, outcome: Outcome): Promise<boolean> {
  if (!(outcome instanceof Response)) return !request.signal.aborted && isIdempotent(request)
  const { status } = outcome
  if (status === 429) return true
  if (status === 503) return isIdempotent(request) || (await readCode(outcome)) === 'busy'
  if (status === 409) return (await readCode(outcome)) === 'idempotency-key-in-use'
  return (status === 502 || status === 504) && isIdempotent(request)
}

/**
 * Whether it may have been done already: a second DELETE would answer that there is nothing, and a condition would not
 * hold any more.
 */
function isIdempotent({ method, headers }: Request): boolean {
  const isConditional = headers.has('if-match') || headers.has('if-none-match')
  return !isConditional && ['GET', 'HEAD', 'PUT', 'POST'].includes(method)
}

/** `Retry-After` is a number of seconds or a date (RFC 9110 §10.2.3). */
function secondsToWait(outcome: Outcome, attempt: number): number {
  const text = outcome instanceof Response ? outcome.headers.get('retry-after') : null
  const asked =
    text === null ? Number.NaN : /^\d+$/.test(text) ? Number(text) : secondsUntil(Date.parse(text))
  const least = Number.isNaN(asked) ? Math.min(2 ** (attempt - 2), 8) : asked
  return least * (1 + Math.random() / 10) // not all clients at the same moment
}

function secondsUntil(time: number): number {
  return Math.max(0, (time - Date.now()) / 1000)
}

function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, seconds * 1000)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}
