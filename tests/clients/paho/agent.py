"""One Eclipse Paho client, told what to do by its argument and its standard input.

The argument is a JSON object: role ("subscriber" or "publisher"), host, port, version, client_id, topic, qos, retain,
and perhaps path (then over WebSocket), username, password, will, tls (paths: authority, certificate, key). A publisher
publishes each line of its input. At the end of the input the client disconnects. What happens is told on standard
output, one JSON object for each event.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


def tell(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


class Agent:
    def __init__(self, options):
        self.options = options
        self.connected = threading.Event()
        version = VERSIONS[options["version"]]
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=options["client_id"],
            protocol=version,
            reconnect_on_failure=False,
            transport="websockets" if "path" in options else "tcp",
        )
        if "path" in options:
            self.client.ws_set_options(path=options["path"])
        if "username" in options:
            self.client.username_pw_set(options["username"], options["password"])
        if "tls" in options:
            tls = options["tls"]
            self.client.tls_set(tls["authority"], tls.get("certificate"), tls.get("key"))
        if "will" in options:
            will = options["will"]
            self.client.will_set(will["topic"], will["payload"], will["qos"], will["retain"])
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message
        self.client.on_publish = self.on_publish

    def on_connect(self, client, userdata, flags, reason, properties):
        if reason.is_failure:
            tell("refused", code=reason.value)
            return
        tell("connected")
        if self.options["role"] == "subscriber":
            client.subscribe(self.options["topic"], self.options["qos"])
        self.connected.set()

    def on_disconnect(self, client, userdata, flags, reason, properties):
        tell("disconnected", code=reason.value)

    def on_subscribe(self, client, userdata, mid, reasons, properties):
        tell("subscribed", code=reasons[0].value)

    def on_message(self, client, userdata, message):
        payload = message.payload.decode()
        tell("message", topic=message.topic, payload=payload, qos=message.qos, retain=message.retain)

    def on_publish(self, client, userdata, mid, reason, properties):
        tell("acknowledged", code=reason.value)

    def run(self):
        options = self.options
        self.client.connect(options["host"], options["port"], keepalive=60)
        self.client.loop_start()
        for line in sys.stdin:
            self.connected.wait()
            self.client.publish(options["topic"], line.rstrip("\n"), options["qos"], options["retain"])
        self.client.disconnect()
        self.client.loop_stop()


Agent(json.loads(sys.argv[1])).run()
