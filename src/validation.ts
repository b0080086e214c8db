import Ajv2020, { type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler, FastifySchemaValidationError, RouteOptions } from 'fastify'
import { compileLater } from './compile-later.ts'
import type { ProblemPart } from './problems.ts'
import { strict } from './schemas.ts'

type Schemas = Record<string, object>

/**
 * Bodies are taken as they are sent: no coercion, unknown members are errors, and no defaults, since what a
 * merge patch leaves out stays as it is. Parameters are text, so their types are coerced. Both see the
 * schemas that were added with addSchema.
 */
export function buildValidator(sharedSchemas: unknown): FastifySchemaCompiler<object> {
  // every mistake at once; what is checked here is small (bodyLimit)
  const bodies = compiler(sharedSchemas as Schemas, { ...strictly, allErrors: true })
  const parameters = compiler(sharedSchemas as Schemas, { ...leniently, allErrors: true })
  const checkBody = compileLater((schema) => findMistakes(bodies.compile(schema)))
  const checkParameters = compileLater((schema) => findMistakes(parameters.compile(schema)))
  return (route) => (route.httpPart === 'body' ? checkBody : checkParameters)(route) as never
}

/** Fastify would look for them at the function that it was given. */
function findMistakes(check: ValidateFunction) {
  return (value: unknown) => check(value) || { error: check.errors }
}

const strictly = { coerceTypes: false, useDefaults: false }
const leniently = { coerceTypes: true, useDefaults: true }

function compiler(sharedSchemas: Schemas, leniency: typeof strictly & { allErrors: boolean }) {
  const ajv = new Ajv2020.default({
    ...leniency,
    removeAdditional: false,
    allowUnionTypes: true,
    // The lint of the OpenAPI document judges the schemas; compiling the meta-schema anew at each start is most of what
    // a start allocates.
    meta: false,
    validateSchema: false,
  })
  addFormats.default(ajv)
  ajv.addFormat('int64', true) // for the generated clients; the limits of the schema say what is taken
  for (const schema of Object.values(sharedSchemas)) ajv.addSchema(schema)
  return ajv
}

/**
 * A check of what is sent as a body by itself, but comes in another way, a million times in one file: undefined where
 * nothing is wrong with it, else the first mistake alone.
 */
export function compileBody(schema: object): (value: unknown) => ProblemPart[] | undefined {
  const check = compiler({}, { ...strictly, allErrors: false }).compile(schema)
  return (value) => (check(value) ? undefined : toProblemParts((check.errors ?? []) as never, 'body'))
}

/** An operation that declares no query refuses every parameter, as the others refuse those they do not know. */
export function refuseUnknownQuery(route: RouteOptions): void {
  route.schema = { querystring: strict({}), ...route.schema }
}

/** The validator's findings as the `errors` of a problem. */
export function toProblemParts(
  found: readonly FastifySchemaValidationError[],
  context: string | undefined,
): ProblemPart[] {
  const prefix = context === undefined || context === 'body' ? '' : (parameterKinds[context] ?? context)
  return (found as ErrorObject[]).map((error) => ({
    pointer: `${prefix}${error.instancePath}${missingOrUnknown(error)}`,
    detail: describe(error),
  }))
}

const parameterKinds: Record<string, string> = { querystring: 'query', params: 'path', headers: 'header' }

function missingOrUnknown({ params }: ErrorObject): string {
  const member = params.missingProperty ?? params.additionalProperty
  return member !== undefined && memberName.test(member) ? `/${member}` : ''
}

// What looks otherwise may be a password that came to a wrong place; then the pointer stops at the object.
// Nothing here needs the escapes of RFC 6901 §3.
const memberName = /^(?=.{1,40}$)[A-Za-z]+(_[A-Za-z]+)*$/

function describe({ keyword, message, params }: ErrorObject): string {
  if (keyword === 'additionalProperties') {
    return memberName.test(params.additionalProperty)
      ? 'is not a known member'
      : 'has a member that is not known'
  }
  if (keyword === 'required' || keyword === 'dependentRequired') return 'is missing'
  if (keyword === 'enum')
    return `must be one of ${params.allowedValues.map((v: unknown) => JSON.stringify(v)).join(', ')}`
  return message ?? 'is not valid'
}
