// One MQTT.js client, told what to do by its argument and its standard input.
//
// The argument is a JSON object: role ("subscriber" or "publisher"), host, port, version, client_id, topic, qos,
// retain, and perhaps path (then over WebSocket), username, password, will, tls (paths: authority, certificate, key). A
// publisher publishes each line of its input. At the end of the input the client disconnects. What happens is told on
// standard output, one JSON object for each event.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'

const options = JSON.parse(process.argv[2])

function tell(event, details) {
  process.stdout.write(JSON.stringify({ event, ...details }) + '\n')
}

const read = (path) => path && readFileSync(path)
const tls = options.tls && {
  ca: read(options.tls.authority),
  cert: read(options.tls.certificate),
  key: read(options.tls.key),
}

const client = mqtt.connect({
  host: options.host,
  port: options.port,
  protocol: options.path ? (tls ? 'wss' : 'ws') : tls ? 'mqtts' : 'mqtt',
  path: options.path,
  ...tls,
  protocolId: options.version === '3.1' ? 'MQIsdp' : 'MQTT',
  protocolVersion: { '3.1': 3, '3.1.1': 4, '5.0': 5 }[options.version],
  clientId: options.client_id,
  username: options.username,
  password: options.password,
  will: options.will,
  keepalive: 60,
  reconnectPeriod: 0,
  resubscribe: false,
})

const connected = new Promise((resolve) => {
  client.once('connect', () => {
    tell('connected')
    if (options.role === 'subscriber') {
      client.subscribe(options.topic, { qos: options.qos }, (error, granted, packet) => {
        // A refused subscription is an error in 5.0 and a grant of 128 before.
        const code = packet?.granted?.[0] ?? granted?.[0]?.qos ?? error?.code
        tell('subscribed', { code })
      })
    }
    resolve()
  })
})

let refused = false
client.on('error', (error) => {
  refused = true
  tell('refused', { code: error.code, text: error.message })
})
client.on('message', (topic, payload, packet) => {
  tell('message', { topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain })
})
let code = 0
client.on('disconnect', (packet) => {
  code = packet.reasonCode
})
client.on('close', () => {
  if (!refused) tell('disconnected', { code })
})

for await (const line of createInterface({ input: process.stdin })) {
  await connected
  client.publish(options.topic, line, { qos: options.qos, retain: options.retain }, (error) => {
    tell('acknowledged', { code: error ? (error.code ?? 128) : 0, text: error?.message })
  })
}
client.end()
