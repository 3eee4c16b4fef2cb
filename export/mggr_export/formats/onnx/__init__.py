"""ONNX files: conversion, quantization and checks."""
