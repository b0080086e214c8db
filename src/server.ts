import pino from 'pino'
import { type Config, ConfigError, readConfig } from './config.ts'
import { loadOrCreateKeys } from './keys.ts'
import { scopes } from './scopes.ts'
import { type Logger, type RunningService, startService } from './service.ts'
import { welcome } from './welcome.ts'

const hurryMs = 40_000 // after this a stop no longer waits for requests in flight

const linesTogetherMs = 10

await main()

async function main(): Promise<void> {
  const config = readConfigOrExit()
  const log = createLog(config)
  const starting = startService(config, log)
  stopOnSignals(starting, log)
  const service = await starting.catch((error: Error) => {
    log.debug({ err: error }, 'the start failed')
    console.error(error.message)
    process.exit(1)
  })
  // without the file the signal ends the process, as it does when its terminal closes
  if (config.auditLogFile !== undefined) process.on('SIGHUP', () => service.reopenAuditLog())
  const print = process.stdout.isTTY ? console.log : console.error // stdout is the log, and JSON, elsewhere
  print(welcome(service, config, await tokenForTerminal(config)))
}

function readConfigOrExit(): Config {
  try {
    return readConfig(process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    console.error(error.message)
    process.exit(2)
  }
}

/** JSON on anything but a terminal, so that no text of a client can forge a line. */
function createLog({ logLevel }: Config): Logger {
  if (!process.stdout.isTTY) return pino({ level: logLevel }, linesTogether(pino.destination(1)))
  return pino({ level: logLevel, transport: { target: 'pino-pretty', options: { ignore: 'pid,hostname' } } })
}

/**
 * Writes what is logged within some milliseconds together: under load that is a system call for many requests, and a thread
 * to wake for it. Only what ends the process without its exit event (a signal without a handler, no memory left) loses
 * these lines.
 */
function linesTogether(to: ReturnType<typeof pino.destination>): pino.DestinationStream {
  let lines = ''
  const flush = () => {
    const written = lines
    lines = ''
    if (written !== '') to.write(written)
  }
  process.on('exit', () => {
    flush()
    to.flushSync() // where a write is under way they wait for its end, which nobody hears any more
  })
  return {
    write(line) {
      if (lines === '') setTimeout(flush, linesTogetherMs)
      lines += line
    },
  }
}

/** A token in the log of a container would be there for all who read it. */
async function tokenForTerminal({ tokenKeyFile }: Config): Promise<string | undefined> {
  if (!process.stdout.isTTY) return undefined
  const keys = await loadOrCreateKeys(tokenKeyFile)
  return keys.sign({ subject: 'terminal', scopes, domains: '*', expiresInSeconds: 3600 })
}

/** Also during the start, which would otherwise leave its Postgres behind. */
function stopOnSignals(starting: Promise<RunningService>, log: Logger): void {
  let stopping = false
  const stop = async (signal: NodeJS.Signals) => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping')
    setTimeout(() => process.exit(1), hurryMs).unref()
    await starting.then(
      (service) => service.stop(),
      () => {}, // the start says why it failed
    )
    log.info('stopped')
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
}
