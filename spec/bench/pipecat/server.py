"""The echo call in Python: Pipecat with Twilio's serializer, its voice activity (Silero) and its
stereo recording, one process for one call, as its own examples put them together.

    server.py SOCKET        serves WS /twilio/<anything> on a Unix socket; recordings beside it
"""

import os
import sys
import wave

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 8000
SECOND = RATE * 2 * 2  # stereo

app = FastAPI()


class Echo(FrameProcessor):
    """What the caller says goes back, and on to the recorder."""

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.push_frame(
                OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
            )


def recorder(path: str) -> AudioBufferProcessor:
    """Each second's audio is written and synced, as ours is."""
    processor = AudioBufferProcessor(
        num_channels=2, buffer_size=SECOND, auto_start_recording=True
    )
    file = wave.open(path, "wb")
    file.setnchannels(2)
    file.setsampwidth(2)
    file.setframerate(RATE)

    @processor.event_handler("on_audio_data")
    async def on_audio_data(_buffer, audio, _rate, _channels):
        file.writeframes(audio)
        os.fdatasync(file._file.fileno())

    return processor


@app.websocket("/twilio/{bot}")
async def call(websocket: WebSocket, bot: str):
    await websocket.accept()
    _, data = await parse_telephony_websocket(websocket)
    serializer = TwilioFrameSerializer(
        stream_sid=data["stream_id"],
        call_sid=data["call_id"],
        params=TwilioFrameSerializer.InputParams(auto_hang_up=False),
    )
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True, audio_out_enabled=True, add_wav_header=False, serializer=serializer
        ),
    )
    path = os.path.join(os.path.dirname(sys.argv[1]), f"{os.getpid()}.wav")
    worker = PipelineWorker(
        Pipeline(
            [
                transport.input(),
                VADProcessor(vad_analyzer=SileroVADAnalyzer()),
                Echo(),
                transport.output(),
                recorder(path),
            ]
        ),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(_transport, _client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    uvicorn.run(app, uds=sys.argv[1], log_level="warning")
