import { type Answer, assertDeclared } from './contract.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests read members of bodies that the contract has checked
export type Body = any

export interface Reply extends Answer {
  body: Body
  etag: string
}

export interface RequestOptions {
  headers?: Record<string, string>
  /** Sent as it is, instead of JSON. */
  raw?: string
}

export interface Client {
  token: string
  get(path: string, options?: RequestOptions): Promise<Reply>
  post(path: string, body?: unknown, options?: RequestOptions): Promise<Reply>
  put(path: string, body?: unknown, options?: RequestOptions): Promise<Reply>
  patch(path: string, body?: unknown, options?: RequestOptions): Promise<Reply>
  delete(path: string, options?: RequestOptions): Promise<Reply>
}

/** Speaks HTTP to a running service; every answer is held against the committed OpenAPI document. */
export function createClient(url: string, token: string): Client {
  const send = async (method: string, path: string, body: unknown, { headers, raw }: RequestOptions = {}) => {
    const content = raw ?? (body === undefined ? undefined : JSON.stringify(body))
    const isRow = method === 'POST' && new URL(path, url).pathname === '/v1/imports' // a file of one row
    const type = isRow ? 'application/x-ndjson' : 'application/json'
    const response = await fetch(new URL(path, url), {
      method,
      redirect: 'manual',
      headers: {
        ...(token !== '' && { authorization: `Bearer ${token}` }),
        ...(content !== undefined && { 'content-type': type }),
        ...headers,
      },
      ...(content !== undefined && { body: content }),
    })
    const reply = await toReply(response)
    assertDeclared(method, path, reply)
    return reply
  }
  return {
    token,
    get: (path, options) => send('GET', path, undefined, options),
    post: (path, body, options) => send('POST', path, body, options),
    put: (path, body, options) => send('PUT', path, body, options),
    patch: (path, body, options) => send('PATCH', path, body, options),
    delete: (path, options) => send('DELETE', path, undefined, options),
  }
}

export async function toReply(response: Response): Promise<Reply> {
  const text = await response.text()
  const type = response.headers.get('content-type') ?? ''
  const isJson = /\bjson\b/.test(type)
  return {
    status: response.status,
    headers: response.headers,
    etag: response.headers.get('etag') ?? '',
    body: text === '' && (isJson || type === '') ? undefined : isJson ? JSON.parse(text) : text, // no line is text too
  }
}

/** Status and problem code of an answer in one word, as in `409 name-taken`. */
export function outcome({ status, body }: Reply): string {
  return status < 400 ? String(status) : `${status} ${String(body?.type).replace('/problems/', '')}`
}
