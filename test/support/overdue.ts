import { after } from 'node:test'

const patienceMs = 60_000

// What a failed test leaves open would keep its file, and with it the whole run, from ever ending.
after(() => {
  setTimeout(() => {
    console.error(`still running ${patienceMs / 1000} s after the last test: something was not stopped`)
    process.exit(1)
  }, patienceMs).unref()
})
