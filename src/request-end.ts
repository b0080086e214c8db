import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

export interface Ended {
  request: FastifyRequest
  reply: FastifyReply
  /** The client had gone before the whole answer was sent; what it asked for may be done all the same. */
  aborted: boolean
}

/**
 * Whether the client goes before or while its body is read is chance; a body whose end came before anybody read it never
 * gets an answer from Fastify. Both are the same to whoever reads the log.
 */
function refuseHalf(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  request.problemCode = 'invalid-request'
  return reply.code(400)
}

type Tell = (ended: Ended) => void

const listeners = new WeakMap<FastifyInstance, Tell[]>()

/**
 * Calls `tell` once for each request, when its answer is sent. `onResponse` alone misses the requests whose client goes
 * while they are worked on: these are told when the answer would have been sent, so that its status is known.
 */
export function onRequestEnd(app: FastifyInstance, tell: Tell): void {
  const tells = listeners.get(app)
  if (tells) tells.push(tell)
  else listenTo(app, [tell])
}

function listenTo(app: FastifyInstance, tells: Tell[]): void {
  listeners.set(app, tells)
  const told = new WeakSet<FastifyRequest>()
  const end = (request: FastifyRequest, reply: FastifyReply, aborted: boolean) => {
    if (told.has(request)) return
    told.add(request)
    for (const tell of tells) tell({ request, reply, aborted })
  }
  app.addHook('onRequest', (request, reply, next) => {
    reply.raw.once('close', () => {
      const begun = reply.sent || reply.raw.headersSent // a stream is "sent" only at its end
      if (begun && !reply.raw.writableFinished) end(request, reply, true)
      if (!reply.sent && !request.raw.complete) end(request, refuseHalf(request, reply), true)
    })
    next()
  })
  app.addHook('onSend', (request, reply, _payload, next) => {
    if (reply.raw.destroyed) end(request, reply, true)
    next()
  })
  app.addHook('onResponse', (request, reply, next) => {
    end(request, reply, false)
    next()
  })
}
