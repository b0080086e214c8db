import { promisify } from 'node:util'
import autocannon, { type Options, type Result } from 'autocannon'

export interface Load {
  url: string
  path: string
  method?: 'GET' | 'POST' | 'PUT'
  token?: string
  headers?: Record<string, string>
  /** The body of the i-th request of this load. */
  body?: (i: number) => object
  connections: number
  seconds: number
  expect: number
}

export interface Measured {
  perSecond: number
  p50: number
  p99: number
  count: number
}

const cannon = promisify(
  autocannon as (options: Options, done: (error: unknown, result: Result) => void) => void,
) as (options: Options) => Promise<Result>

/** Sends one request after the other on each connection, from this process. Fails where anything is not as expected. */
export async function load(options: Load): Promise<Measured> {
  const { url, path, method = 'GET', token, headers, body, connections, seconds, expect } = options
  let next = 0
  let unexpected = 0
  const result = await cannon({
    url: url + path,
    connections,
    duration: seconds,
    requests: [
      {
        method,
        headers: {
          ...(token && { authorization: `Bearer ${token}` }),
          ...(body && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body && {
          setupRequest: (request: object) => {
            const i = next
            next += 1
            return { ...request, body: JSON.stringify(body(i)) }
          },
        }),
        onResponse: (status: number) => {
          if (status !== expect) unexpected += 1
        },
      },
    ],
  })
  const failed = unexpected + result.errors + result.timeouts
  if (failed > 0)
    throw new Error(`${failed} of ${result.requests.total} requests were not answered ${expect}`)
  const { latency, requests, duration } = result
  return { perSecond: requests.total / duration, p50: latency.p50, p99: latency.p99, count: requests.total }
}
